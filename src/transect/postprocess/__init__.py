"""From maps to answers: pieces, objects, fields, blobs and boxes; and how their rules are tuned."""
