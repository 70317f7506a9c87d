"""Programs of the build: generators and checks. Nothing of the product."""
