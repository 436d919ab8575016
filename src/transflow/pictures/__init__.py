"""Pictures in and out: files, arrays and tars to the uint8 pictures of a model's shape, and grids of pictures back."""
