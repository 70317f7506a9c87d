# Runs `wattkeeper`: docker build . after `make wheel` (or `make image`, which does both).
FROM python:3.11-slim
# Dependencies have the versions that are tested; tools for development stay out of the image.
COPY requirements/dev.txt /tmp/dev.txt
COPY dist/wattkeeper-*.whl /tmp/
RUN sed -E '/^ +--hash/d; s/ *\\$//' /tmp/dev.txt > /tmp/pins.txt \
    && pip install --no-cache-dir --constraint /tmp/pins.txt /tmp/wattkeeper-*.whl \
    && rm /tmp/*
USER 65532:65532
ENTRYPOINT ["wattkeeper"]
