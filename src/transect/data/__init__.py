"""Surveys and their files: pictures, annotations, the decoded cache, and the network's geometry."""
