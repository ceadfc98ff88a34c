"""What a user of merlin-sdk does in a day, run by the SDK itself against a URL, and with a token if one is given.

Prints one JSON object with what was seen. It runs in the SDK's own environment and imports nothing of the platform.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

warnings.filterwarnings("ignore")

import client  # noqa: E402
import merlin  # noqa: E402
import merlin.fluent  # noqa: E402
import merlin.model  # noqa: E402
import urllib3  # noqa: E402
from client.exceptions import ApiException  # noqa: E402
from merlin.batch.job import JobStatus, PredictionJob  # noqa: E402
from merlin.model_schema import ModelSchema  # noqa: E402
from merlin.observability.inference import InferenceSchema, RegressionOutput, ValueType  # noqa: E402

merlin.model.sleep = lambda _seconds: time.sleep(0.1)  # the SDK looks every 5 s how far a deployment is
seen: dict[str, Any] = {}


def refusal(act: Callable[[], object]) -> tuple[int, str] | None:
    try:
        act()
    except ApiException as error:
        return error.status, json.loads(error.body)["error"]
    return None


def predict(url: str) -> Any:
    body = json.dumps({"instances": [{"user_id": 7, "features": [1.0, 2.0]}]})
    for _ in range(300):  # the tier follows the registry by polling it
        answer = urllib3.request("POST", url, body=body)
        if answer.status == 200:
            break
        time.sleep(0.1)
    return json.loads(answer.data)


merlin.set_url(f"{sys.argv[1]}/merlin", use_google_oauth=False)
if len(sys.argv) > 2:  # the SDK has no argument for a token, its generated client has headers for all requests
    merlin.fluent._merlin_client._api_client.set_default_header("Authorization", f"Bearer {sys.argv[2]}")  # noqa: SLF001
seen["environments"] = [(one.name, one.is_default) for one in merlin.list_environment()]
seen["default"] = merlin.get_default_environment().name
seen["projects"] = [one.name for one in merlin.list_project()]
merlin.set_project("default")
seen["models"] = [(one.name, one.type.value) for one in merlin.active_project().list_model()]
merlin.set_model("rater")
model = merlin.active_model()
seen["endpoint before"] = model.endpoint
seen["versions"] = [one.id for one in model.list_version()]
seen["final"] = [one.id for one in model.list_version(labels={"stage": ["trial", "final"]})]

first = merlin.deploy(model.get_version(1))
seen["deployed"] = [first.status.value, first.environment_name]
seen["deployed again"] = merlin.deploy(model.get_version(1)).status.value
try:
    merlin.deploy(model.get_version(3))
except merlin.model.ModelEndpointDeploymentError as error:
    seen["not deployed"] = error.details
endpoint = merlin.serve_traffic({first: 100})
seen["serves"] = [endpoint.status.value, endpoint.environment_name, predict(endpoint.url)]
second = merlin.deploy(model.get_version(2))
seen["serves the second"] = merlin.serve_traffic({second: 100}).id == endpoint.id
seen["answers"] = predict(model.get_version(2).endpoint.url)
seen["endpoints"] = [one.url == endpoint.url for one in merlin.list_model_endpoints()]
seen["undeploy what serves"] = refusal(lambda: merlin.undeploy(model.get_version(2)))
merlin.undeploy(model.get_version(1))
merlin.stop_serving_traffic()
seen["stopped"] = [model.endpoint, merlin.list_model_endpoints()]
merlin.undeploy(model.get_version(2))
seen["ends"] = [one.endpoint.status.value for one in model.list_version()]

there = merlin.deploy(model.get_version(2), "staging")
seen["staging"] = merlin.serve_traffic({there: 100}, "staging").url
third = merlin.deploy(model.get_version(1))
columns = RegressionOutput(prediction_score_column="score", actual_score_column="stars")
schema = ModelSchema(InferenceSchema({"age": ValueType.INT64}, columns, tag_columns=["town"]), model_id=int(model.id))
own = merlin.fluent._merlin_client._api_client  # noqa: SLF001  # the SDK itself has no words for schemas and logs
schemas = client.ModelSchemaApi(own)
put = schemas.models_model_id_schemas_put(int(model.id), schema.to_client_model_schema())
seen["schema"] = ModelSchema.from_model_schema_response(put).spec == schema.spec
seen["schemas"] = [one.spec.row_id_column for one in schemas.models_model_id_schemas_get(int(model.id))]
schemas.models_model_id_schemas_schema_id_delete(int(model.id), put.id)
seen["schemas after"] = schemas.models_model_id_schemas_get(int(model.id))
logs = client.LogApi(own)
asked = {"cluster": "production", "namespace": "default", "component_type": "model", "model_name": "rater"}
for version, container in (("3", "deployments"), ("2", "tier")):
    found = logs.logs_get_without_preload_content(**asked, version_id=version, container_name=container, follow="true")
    seen[f"log of {version}"] = sorted({line.partition(" ")[2] for line in found.data.decode().splitlines()})
config = client.PredictionJobConfig(
    gcs_source=client.PredictionJobConfigGcsSource(uri="rows"), gcs_sink=client.PredictionJobConfigGcsSink(uri="scores")
)
asked_job = client.PredictionJob(config=client.Config(job_config=config, service_account_name="nobody"))
jobs = client.PredictionJobsApi(own)
job = PredictionJob(jobs.models_model_id_versions_version_id_jobs_post(int(model.id), 1, asked_job), own)
while job.refresh().status in {JobStatus.PENDING, JobStatus.RUNNING}:
    time.sleep(0.1)
seen["job"] = job.status.value
seen["why"] = jobs.models_model_id_versions_version_id_jobs_job_id_get(int(model.id), 1, job.id).error
other = PredictionJob(jobs.models_model_id_versions_version_id_jobs_post(int(model.id), 1, asked_job), own)
seen["stopped job"] = other.stop().status.value
seen["set traffic"] = merlin.set_traffic({model.get_version(1): 100}).status.value
seen["new model"] = refusal(lambda: merlin.set_model("fresh", merlin.model.ModelType.SKLEARN))
seen["new version"] = refusal(model.new_model_version)
print("\n" + json.dumps(seen))  # noqa: T201  # this is the output
