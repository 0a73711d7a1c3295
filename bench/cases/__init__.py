"""What is measured: each module yields the cases of a suite, or what several of them share."""
