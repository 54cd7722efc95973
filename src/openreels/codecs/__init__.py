"""Thin adapters between pixels or samples and normalised latents."""
