"""Sets of pictures as latents: streamed, or kept in a folder."""
