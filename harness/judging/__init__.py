"""What each kind of expectation demands of what was seen: pure, as the judge is who asks them."""
