# The MLflow server of compose.yaml, at the versions that the project is tested with.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm
FROM ${BASE_IMAGE}

COPY docker/mlflow-hashes.txt /opt/mlflow/
RUN pip install --no-cache-dir --require-hashes --requirement /opt/mlflow/mlflow-hashes.txt
COPY docker/backup.py /opt/mlflow/

# A new volume takes its owner from here.
RUN install -d -o 10001 -g 10001 -m 700 /store
ENV HOME=/tmp \
    USER=mlflow \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet \
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /store
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1", \
     "--backend-store-uri", "sqlite:////store/mlflow.db", "--artifacts-destination", "/store/artifacts", \
     "--allowed-hosts", "localhost:5000,127.0.0.1:5000"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/health', timeout=5)"]
