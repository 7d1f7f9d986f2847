"""Networks: channels, U-Net, inference. The only room, with train, that knows torch."""
