# CPU:   docker build -t transect .
# CUDA:  docker build -t transect --build-arg TORCH=https://download.pytorch.org/whl/cu126 .
# Use:   docker run --rm -v "$PWD":/data transect train /data/survey --out /data/runs/one
ARG PYTHON=3.12
FROM python:${PYTHON}-slim
ARG TORCH=https://download.pytorch.org/whl/cpu
ARG EXTRAS=geo,xlsx,figures
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --index-url "${TORCH}" torch torchvision
COPY pyproject.toml README.md LICENSE /transect/
COPY src /transect/src
RUN pip install --no-cache-dir "/transect[${EXTRAS}]"
RUN useradd --create-home transect
USER transect
WORKDIR /data
ENV OMP_WAIT_POLICY=PASSIVE
ENTRYPOINT ["transect"]
