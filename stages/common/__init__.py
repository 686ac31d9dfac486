"""What all phases share: numpy and OpenCV only."""
