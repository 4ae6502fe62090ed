"""What all tests share: how random programs are drawn in CI and at night."""
