"""The GPU's side: compiler, cache, probe, layouts and launches; the only importer of CUDA."""
