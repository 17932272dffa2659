"""The manifests of examples/kubernetes: checked by kubeconform, and their containers run as the kubelet does, against the sandbox."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from example_runs import (
    DOCS,
    EXAMPLES,
    TIMEOUT,
    assert_loaded_once,
    assert_nothing_secret,
    block,
    dead_address,
    empty_database,
    endpoints,
    masked,
    missing,
    run_privately,
    stores,
    table_id,
)
from sandbox import Sandbox, binary

MANIFESTS = EXAMPLES / "kubernetes"
FILES = ("cronjob", "stores")
# The oldest version with all fields of the file as stable ones, and the newest that the package has.
VERSIONS = {"cronjob": ("1.31", "1.37"), "stores": ("1.33", "1.37")}
JOB = "yotpo-td-29497260"
USER = 65532
IMAGE = "registry.example.com/yotpo-td:0.1.0"


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()))


def kind(name: str, wanted: str) -> dict:
    (found,) = [one for one in documents(name) if one["kind"] == wanted]
    return found


def job(name: str) -> dict:
    return kind(name, "CronJob")["spec"]["jobTemplate"]["spec"]


def pod(name: str) -> dict:
    return job(name)["template"]["spec"]


def container(name: str) -> dict:
    (only,) = pod(name)["containers"]
    return only


# kubeconform


@pytest.fixture(scope="session")
def schemas(tmp_path_factory):
    """The schemas of the kinds that the files use, one file each, without references: as kubeconform reads them."""
    wheels = list((Path(sys.prefix) / "schemas").glob("kubernetes_validate-*.whl"))
    if len(wheels) != 1:
        missing("the schemas of Kubernetes are missing")
    folder = tmp_path_factory.mktemp("schemas")
    kinds = {(one["kind"], one["apiVersion"]) for name in FILES for one in documents(name)}
    with zipfile.ZipFile(wheels[0]) as archive:
        for version in {version for versions in VERSIONS.values() for version in versions}:
            path = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
            definitions = json.loads(archive.read(f"{path}/_definitions.json"))["$defs"]
            (folder / version).mkdir()
            for name, api in kinds:
                file = f"{name.lower()}-{api.replace('/', '-')}.json"
                schema = without_references(json.loads(archive.read(f"{path}/{file}")), definitions)
                (folder / version / file).write_text(json.dumps(schema))
    return folder


def without_references(node, definitions: dict):
    if isinstance(node, list):
        return [without_references(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return without_references(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
    return {key: without_references(one, definitions) for key, one in node.items()}


def kubeconform(schemas: Path, version: str, text: str) -> subprocess.CompletedProcess:
    program = Path(sys.prefix) / "bin" / "kubeconform"
    if not program.exists():
        missing("kubeconform is missing, because Go is")
    location = schemas / version / "{{.ResourceKind}}{{.KindSuffix}}.json"
    return subprocess.run(
        [program, "-strict", "-summary", "-output", "json", "-schema-location", location],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize(("name", "version"), [(name, version) for name in FILES for version in VERSIONS[name]])
def test_kubeconform_finds_no_fault(schemas, name, version):
    done = kubeconform(schemas, version, (MANIFESTS / f"{name}.yaml").read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["summary"] == {"valid": len(documents(name)), "invalid": 0, "errors": 0, "skipped": 0}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("cronjob", "concurrencyPolicy:", "concurrencyPolicies:"),
        ("cronjob", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: yes please"),
        ("cronjob", "accessModes: [ReadWriteOnce]", "accessModes: ReadWriteOnce"),
        ("stores", "backoffLimitPerIndex: 2", "backoffLimitPerIndex: two"),
        ("stores", "action: FailIndex", "actions: FailIndex"),
        ("stores", "fieldPath: metadata.labels", "field: metadata.labels"),
    ],
)
def test_kubeconform_finds_mistakes(schemas, name, old, new):
    text = (MANIFESTS / f"{name}.yaml").read_text()
    assert text.count(old) == 1
    done = kubeconform(schemas, VERSIONS[name][0], text.replace(old, new))
    assert done.returncode == 1, done.stdout


# Rules that no schema has.


def test_every_file_is_tested():
    assert {path.stem for path in MANIFESTS.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_the_job_retries_what_may_succeed_later(name):
    spec = job(name)
    ignored, failed = spec["podFailurePolicy"]["rules"]
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert failed["action"] == {"cronjob": "FailJob", "stores": "FailIndex"}[name]
    assert failed["onExitCodes"]["containerName"] == container(name)["name"]
    # The table is generated from the program.
    table = re.findall(r"^\| (\d+) \|.*\| no \|", (DOCS / "exit-codes.md").read_text(), re.MULTILINE)
    assert failed["onExitCodes"]["values"] == [int(code) for code in table]
    # A failure policy requires it.
    assert pod(name)["restartPolicy"] == "Never"
    assert kind(name, "CronJob")["spec"]["concurrencyPolicy"] == "Forbid"


@pytest.mark.parametrize("name", FILES)
def test_the_pod_has_no_privileges(name):
    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    assert pod(name)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(name)["automountServiceAccountToken"] is False
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(name)["image"] == IMAGE
    assert pod(name)["terminationGracePeriodSeconds"] > 15


def test_each_index_has_settings():
    assert set(kind("stores", "ConfigMap")["data"]) == {f"{index}.toml" for index in range(job("stores")["completions"])}


def test_the_page_creates_every_secret():
    commands = re.findall(r"```sh\n(.*?)```", (DOCS / "kubernetes.md").read_text(), re.DOTALL)
    for name in FILES:
        (secret,) = [one["secret"]["secretName"] for one in pod(name)["volumes"] if "secret" in one]
        (command,) = [text for text in commands if f"create secret generic {secret} " in text]
        for key in secret_files(name, None):
            assert f"--from-file={key}=" in command, key


# The container.


def secret_files(name: str, store: Sandbox | None) -> dict[str, str]:
    """The content of the secret."""
    indexes = range(job(name).get("completions", 1))
    prefixes = [f"{index}." for index in indexes] if name == "stores" else [""]
    found = {f"{prefix}client-secret": store.stores[index]["YOTPO_CLIENT_SECRET"] if store else "" for index, prefix in zip(indexes, prefixes, strict=True)}
    return {**found, "td-api-key": store["TD_API_KEY"] if store else ""}


def with_store(text: str, store: Sandbox) -> str:
    """With the ids of the mock server's stores instead of those that a user fills in."""
    for placeholder, number in {"YOUR_APP_KEY": 0, "APP_KEY_OF_SHOP_US": 0, "APP_KEY_OF_SHOP_EU": 1, "APP_KEY_OF_SHOP_JP": 2}.items():
        text = text.replace(placeholder, store.stores[number]["YOTPO_STORE_ID"])
    return text


def environment(name: str, job_name: str, index: int, store: Sandbox) -> dict[str, str]:
    """The container's variables: in their order, where $(NAME) is a variable that was named before."""
    labels = {"batch.kubernetes.io/job-name": job_name, "job-name": job_name}
    annotations = {"batch.kubernetes.io/job-completion-index": str(index)} if name == "stores" else {}
    found: dict[str, str] = {}
    for one in container(name)["env"]:
        if "valueFrom" in one:
            place, key = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", one["valueFrom"]["fieldRef"]["fieldPath"]).groups()
            found[one["name"]] = {"labels": labels, "annotations": annotations}[place][key]
        else:
            found[one["name"]] = expand(with_store(one["value"], store), found)
    return found


def expand(text: str, known: dict[str, str]) -> str:
    # A name that is not known is left as it is.
    return re.sub(r"\$\(([A-Za-z_]\w*)\)", lambda name: known.get(name[1], name[0]), text)


def write_volume(directory: Path, files: dict[str, str], mode: int) -> None:
    """As the kubelet writes secrets and config maps: links to links, so that all files change at once."""
    data = directory / "..2026_01_31_04_00_00.123456789"
    data.mkdir(parents=True)
    for name, text in files.items():
        (data / name).write_text(text)
        (data / name).chmod(mode)
        (directory / name).symlink_to(f"..data/{name}")
    (directory / "..data").symlink_to(data.name)


def write_volumes(root: Path, name: str, store: Sandbox, **secrets: str) -> None:
    for volume in pod(name)["volumes"]:
        (mount,) = [one["mountPath"].lstrip("/") for one in container(name)["volumeMounts"] if one["name"] == volume["name"]]
        if "secret" in volume:
            write_volume(root / mount, {**secret_files(name, store), **secrets}, volume["secret"]["defaultMode"])
        elif "configMap" in volume:
            files = {key: with_store(text, store) for key, text in kind(name, "ConfigMap")["data"].items()}
            write_volume(root / mount, files, 0o644)
        else:
            assert "emptyDir" in volume or "persistentVolumeClaim" in volume
            (root / mount).mkdir(parents=True)
            # Everybody may write to an emptyDir.
            (root / mount).chmod(0o2777)


store = stores(seed=51, count=3)


@pytest.fixture(autouse=True)
def database(request):
    if "store" not in request.fixturenames:
        yield
        return
    with empty_database(request.getfixturevalue("store")):
        yield


def command(name: str, variables: dict[str, str]) -> list[str]:
    first, *more = container(name)["command"] + container(name)["args"]
    assert first == "yotpo-td"
    return [expand(text, variables) for text in more]


def run(root: Path, name: str, store: Sandbox, index: int = 0, job_name: str = JOB, yotpo: str | None = None) -> tuple[int, str]:
    """A pod: the mount points are directories below `root`. What comes back is its log."""
    variables = environment(name, job_name, index, store)
    mounts = "|".join(re.escape(one["mountPath"]) for one in container(name)["volumeMounts"])
    here = {key: re.sub(rf"^(?={mounts})", str(root), value) for key, value in variables.items()}
    more = endpoints(store, yotpo)
    # One endpoint only.
    here.pop("YOTPO_TD_SITE")
    done = subprocess.run(
        [binary(), *command(name, variables)],
        # No home directory, and no directory for temporary files.
        env={"PATH": "/usr/bin:/bin", "HOME": "/", "TMPDIR": "/nowhere", **here, **more},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    return done.returncode, done.stdout


def tables(name: str) -> list[str]:
    if name == "cronjob":
        return ["yotpo_customers"]
    data = kind(name, "ConfigMap")["data"]
    return [re.search(r'^table = "(\w+)"$', data[f"{index}.toml"], re.MULTILINE)[1] for index in range(len(data))]


@pytest.mark.parametrize("name", FILES)
def test_every_index_loads_its_store_once_however_many_pods_a_job_has(name, store, tmp_path):
    # Each pod of stores.yaml has an empty directory for its state.
    for index, table in enumerate(tables(name)):
        write_volumes(tmp_path / str(index), name, store)
        code, log = run(tmp_path / str(index), name, store, index)
        assert code == 0, log
        assert_loaded_once(store, table, store.stores[index]["YOTPO_STORE_ID"])
        assert_nothing_secret(log, store)
        before = table_id(store, table)
        # Another pod of the same job, on another node.
        write_volumes(tmp_path / f"{index}-again", name, store)
        code, log = run(tmp_path / f"{index}-again", name, store, index)
        assert code == 0 and "this run id was loaded before" in log, log
        assert table_id(store, table) == before
        # The job of the next day.
        code, log = run(tmp_path / str(index), name, store, index, "yotpo-td-29498700")
        assert code == 0, log
        assert table_id(store, table) != before


def test_a_store_with_a_wrong_secret_fails_alone(store, tmp_path):
    write_volumes(tmp_path, "stores", store, **{"1.client-secret": "wrong"})
    codes = []
    for index in range(3):
        shutil.rmtree(tmp_path / "state/yotpo-td", ignore_errors=True)
        codes.append(run(tmp_path, "stores", store, index)[0])
    assert codes == [0, 3, 0]


def test_the_message_of_a_failed_pod_is_that_of_the_page(store, tmp_path):
    write_volumes(tmp_path, "cronjob", store, **{"client-secret": "wrong"})
    code, log = run(tmp_path, "cronjob", store)
    assert code == 3
    assert container("cronjob")["terminationMessagePolicy"] == "FallbackToLogsOnError"
    # What the kubelet takes of a log: 80 lines, and 2048 bytes.
    message = masked(log).replace(str(tmp_path), "")[-2048:]
    shown = block("kubernetes.md", "text", "error: ")
    assert message.endswith(shown) and "\ncode: " in shown and "\nsaved: " in shown
    assert_nothing_secret(log, store)


def test_an_outage_is_retried_by_the_next_pod(store, tmp_path):
    write_volumes(tmp_path, "cronjob", store)
    code, log = run(tmp_path, "cronjob", store, yotpo=dead_address())
    assert code == 4, log
    code, log = run(tmp_path, "cronjob", store)
    assert code == 0, log
    assert_loaded_once(store, "yotpo_customers")


POD = """\
set -eu
# What fsGroup does to files and directories.
chown -R root:{user} /secrets /state
chmod 2777 /state
mount -t tmpfs tmpfs /run
mount --bind /state /state
mount -o remount,bind,ro /
cd /
status=0
env -i {variables} setpriv --reuid={user} --regid={user} --groups={user} --bounding-set=-all --no-new-privs \\
    yotpo-td {arguments} >/output/log 2>&1 || status=$?
echo "$status" >/output/status
stat --format='%u %a' /state/yotpo-td >/output/state
"""


def test_it_runs_as_another_user_with_a_read_only_root(store, tmp_path):
    """The paths, the user, the modes and the group of the manifest."""
    context = pod("cronjob")["securityContext"]
    assert {context[key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {USER}
    write_volumes(tmp_path, "cronjob", store)
    variables = {"PATH": "/usr/bin:/bin", **environment("cronjob", JOB, 0, store), **endpoints(store)}
    variables.pop("YOTPO_TD_SITE")
    script = POD.format(
        user=USER,
        variables=" ".join(f"'{key}={value}'" for key, value in variables.items()),
        arguments=" ".join(command("cronjob", variables)),
    )
    done = run_privately(tmp_path, "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "output/log").read_text()
    assert (tmp_path / "output/status").read_text() == "0\n", log
    assert (tmp_path / "output/state").read_text() == f"{USER} 2700\n"
    assert_loaded_once(store, "yotpo_customers")
