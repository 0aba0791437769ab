# The image of deploy/ack-cronjob.yaml: `docker build -f deploy/ack.Dockerfile -t REGISTRY/npu-conformance:VERSION .`
FROM docker.io/library/python:3.13-slim-trixie
COPY requirements/test.txt /src/requirements/test.txt
RUN python -m pip install --no-cache-dir --require-hashes -r /src/requirements/test.txt
COPY . /src
RUN python -m pip install --no-cache-dir --no-deps /src && useradd --uid 10001 --create-home runner
WORKDIR /src
USER 10001:10001
ENTRYPOINT ["python", "-m", "pytest", "e2e", "--target", "ack"]
