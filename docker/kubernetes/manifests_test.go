//go:build cluster

package kubernetes_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// strict are kubectl's arguments with which the apiserver checks all and keeps nothing.
var strict = []string{"apply", "--dry-run=server", "--validate=strict", "--filename=-"}

// rendered is what an overlay amounts to.
func rendered(t *testing.T, overlay string) string {
	t.Helper()
	return kube.ask(t, "", "kustomize", "overlays/"+overlay)
}

// restricted is a namespace where pods must keep to the strictest of Kubernetes' Pod Security Standards.
func restricted(t *testing.T) string {
	t.Helper()
	const name = "restricted"
	labels := ""
	for _, mode := range []string{"enforce", "warn"} {
		labels += "    pod-security.kubernetes.io/" + mode + ": restricted\n"
	}
	kube.ask(t, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: "+name+"\n  labels:\n"+labels,
		"apply", "--server-side", "--filename=-")
	return "--namespace=" + name
}

func TestApplied(t *testing.T) {
	t.Parallel()
	namespace := restricted(t)
	overlays, err := os.ReadDir("overlays")
	require.NoError(t, err)
	require.Len(t, overlays, 5)
	for _, overlay := range overlays {
		t.Run(overlay.Name(), func(t *testing.T) {
			got := kube.ask(t, rendered(t, overlay.Name()), append(strict, namespace)...)
			assert.Contains(t, got, "created (server dry run)")
		})
	}
	t.Run("volumes", func(t *testing.T) {
		got := kube.ask(t, "", "apply", "--dry-run=server", "--validate=strict", "--filename=volumes", namespace)
		assert.Equal(t, 3, strings.Count(got, "created (server dry run)"))
	})
	t.Run("a Job that is less strict", func(t *testing.T) {
		job := strings.Replace(rendered(t, "job-cpu"), "type: RuntimeDefault", "type: Unconfined", 1)
		_, said, err := kube.kubectl(job, append(strict, namespace)...)
		require.NoError(t, err)
		assert.Contains(t, said, `would violate PodSecurity "restricted:latest": seccompProfile`)
	})
}

// Both images have what a pod needs: what differs between the overlays is the image and the resources.
func TestOverlays(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"job", "trainjob"} {
		cpu, gpu := rendered(t, kind+"-cpu"), rendered(t, kind+"-gpu")
		assert.Contains(t, cpu, "image: thaw:cpu\n")
		assert.Contains(t, gpu, "image: thaw:cuda\n")
		assert.NotContains(t, cpu, "nvidia.com/gpu")
		assert.Equal(t, 1, strings.Count(gpu, "nvidia.com/gpu: 1\n"))
		for _, manifests := range []string{cpu, gpu} {
			for _, want := range []string{
				"limits:", "requests:", "medium: Memory", "runAsNonRoot: true", "readOnlyRootFilesystem: true",
				"allowPrivilegeEscalation: false", "- ALL\n", "type: RuntimeDefault",
				"automountServiceAccountToken: false", "terminationGracePeriodSeconds: 60", "restartPolicy: Never",
			} {
				assert.Equal(t, 1, strings.Count(manifests, want), "%s: %s", kind, want)
			}
		}
	}
}

// object is a document of a manifest.
type object = map[string]any

// trainerMakes is what Trainer's controller makes of manifests with a TrainJob and its runtime.
func trainerMakes(t *testing.T, manifests string) (made map[string]object, said string) {
	t.Helper()
	command := exec.Command(kube.program, "trainer")
	var stderr bytes.Buffer
	command.Stdin, command.Stderr = strings.NewReader(manifests), &stderr
	out, err := command.Output()
	if err != nil {
		return nil, stderr.String()
	}
	made = map[string]object{}
	decoder := yaml.NewDecoder(bytes.NewReader(out))
	for {
		var document object
		if decoder.Decode(&document) != nil {
			return made, stderr.String()
		}
		made[document["kind"].(string)] = document
	}
}

// at is what lies on a path of keys and indices.
func at(t *testing.T, value any, path ...any) any {
	t.Helper()
	for i, step := range path {
		switch step := step.(type) {
		case string:
			fields, ok := value.(object)
			require.True(t, ok, "%v", path[:i+1])
			value = fields[step]
		case int:
			list, ok := value.([]any)
			require.True(t, ok && step < len(list), "%v", path[:i+1])
			value = list[step]
		}
	}
	return value
}

// jobOf is the Job that JobSet's controller makes of a JobSet's first template.
func jobOf(t *testing.T, jobSet object) object {
	t.Helper()
	return object{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": object{"name": "thaw-node-0"},
		"spec": at(t, jobSet, "spec", "replicatedJobs", 0, "template", "spec"),
	}
}

func document(t *testing.T, value object) string {
	t.Helper()
	data, err := json.Marshal(value)
	require.NoError(t, err)
	return string(data)
}

// The JobSet that Trainer makes of the TrainJob, and its Job, are accepted too, and say that there is one rank.
func TestTrainer(t *testing.T) {
	t.Parallel()
	namespace := restricted(t)
	for _, overlay := range []string{"trainjob-cpu", "trainjob-gpu"} {
		made, said := trainerMakes(t, rendered(t, overlay))
		require.Contains(t, made, "JobSet", said)
		jobSet := made["JobSet"]
		kube.ask(t, document(t, jobSet), strict...)
		kube.ask(t, document(t, jobOf(t, jobSet)), append(strict, namespace)...)

		container := at(t, jobSet, "spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "containers", 0)
		assert.Equal(t, []any{"train", "--resume-if-there", "/data/spec.yaml", "out=/runs/spec"}, at(t, container, "args"))
		env := map[string]any{}
		for _, variable := range at(t, container, "env").([]any) {
			env[at(t, variable, "name").(string)] = at(t, variable, "value")
		}
		assert.Equal(t, "1", env["PET_NNODES"])
		assert.Equal(t, "1", env["PET_NPROC_PER_NODE"], "not the CPU request, nor auto")
		assert.Equal(t, "thaw-node-0-0.thaw", env["PET_MASTER_ADDR"])
		assert.Contains(t, env, "PET_NODE_RANK")
	}
	made, said := trainerMakes(t, strings.Replace(rendered(t, "trainjob-cpu"), "    numProcPerNode: 1\n", "", 1))
	require.Contains(t, made, "JobSet", said)
	assert.Contains(t, document(t, made["JobSet"]), `{"name":"PET_NPROC_PER_NODE","value":"4"}`,
		"what the key numProcPerNode is there for")
}

// What Trainer tells the containers of two nodes of two ranks each is what thaw train goes by: it starts its node's ranks.
func TestTrainerOfSeveral(t *testing.T) {
	t.Parallel()
	spec := strings.NewReplacer("    numNodes: 1\n", "    numNodes: 2\n", "    numProcPerNode: 1\n", "    numProcPerNode: 2\n")
	made, said := trainerMakes(t, spec.Replace(rendered(t, "trainjob-cpu")))
	require.Contains(t, made, "JobSet", said)
	container := at(t, made["JobSet"], "spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "containers", 0)
	env := map[string]string{}
	for _, variable := range at(t, container, "env").([]any) {
		value, _ := at(t, variable, "value").(string)
		env[at(t, variable, "name").(string)] = value
	}
	assert.Contains(t, env, "PET_NODE_RANK")
	env["PET_NODE_RANK"] = "1" // the pod's completion index
	world, err := launch.Find(launch.Flags{}, func(name string) string { return env[name] })
	require.NoError(t, err)
	assert.Equal(t, launch.World{
		Rank: 2, Size: 4, LocalSize: 2, Node: 1, Nodes: 2, Address: "thaw-node-0-0.thaw", Port: 29500, Starter: true,
		By: "PET_ variables",
	}, world)
}
