"""A plan for a simulated patient: objectives, inverse planning of ideal fluence, acceptance."""
