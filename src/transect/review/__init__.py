"""Looking at annotations in the browser and correcting them: a local server and its journal."""
