"""ImageNet's mean and standard deviation, for RGB of 0 to 1."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
