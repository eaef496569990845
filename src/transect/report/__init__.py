"""What people look at: one self-contained page, its charts and pictures, and the model card."""
