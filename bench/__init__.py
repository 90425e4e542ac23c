"""What the bridge costs and how fast it is, beside its peers: `./dev bench`."""
