"""Few-shot classification of labelled latents in closed form: densities, their selection, and calibration."""
