"""Few-shot classification of labelled latents, in closed form: densities, choice and calibration."""
