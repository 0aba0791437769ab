# The image of deploy/ack-cronjob.yaml:
#   docker build -f deploy/ack.Dockerfile --build-arg KUBECTL=registry.k8s.io/kubectl:VERSION -t REGISTRY/npu-conformance:VERSION .
# KUBECTL is that of the cluster's version, or of one minor version beside it. PIP_INDEX_URL may name a mirror: what it
# gives is checked against the hashes of requirements/test.txt.
ARG PYTHON=docker.io/library/python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285
ARG KUBECTL
FROM ${KUBECTL} AS kubectl
FROM ${PYTHON}
ARG PIP_INDEX_URL=https://pypi.org/simple
COPY --from=kubectl /bin/kubectl /usr/local/bin/kubectl
COPY requirements/test.txt /src/requirements/test.txt
RUN python -m pip install --no-cache-dir --require-hashes -r /src/requirements/test.txt
COPY . /src
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation /src && echo "runner:x:10001:10001::/tmp:/bin/false" >> /etc/passwd
WORKDIR /src
USER 10001:10001
ENTRYPOINT ["python", "-m", "pytest", "e2e", "--target", "ack"]
