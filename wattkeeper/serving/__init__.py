"""What every process that listens needs: addresses, health and metrics pages over HTTP. What it answers is not here."""
