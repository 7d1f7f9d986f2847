"""The work on one study: predict (the main line), review of any RTDOSE, inspection."""
