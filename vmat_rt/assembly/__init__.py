"""What a Case is put together from, whatever it came from: required structures, prescription, body, voxels."""
