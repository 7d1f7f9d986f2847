"""DICOM over the network: the node that receives, and the sender of results."""
