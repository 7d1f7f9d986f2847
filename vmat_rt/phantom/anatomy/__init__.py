"""The procedural pelvis: traits, shapes, organs, tissue and CT."""
