"""Container images: their references, what they are built from, registries and bundles."""
