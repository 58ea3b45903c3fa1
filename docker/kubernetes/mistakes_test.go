//go:build cluster

package kubernetes_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mistake is a slip in an overlay's manifests, and what names the field in the line with which it is refused.
type mistake struct {
	overlay  string
	old, new string // lines, without their indentation
	want     []string
}

var mistakes = map[string]mistake{
	"completionMode misspelt": {"job-gpu", "completionMode: Indexed", "completionMode: Indexd",
		[]string{"spec.completionMode", `"Indexd"`}},
	"half a GPU": {"job-gpu", "nvidia.com/gpu: 1", "nvidia.com/gpu: 500m",
		[]string{"spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]", "must be an integer"}},
	"key in another case": {"job-gpu", "readOnlyRootFilesystem: true", "readOnlyRootFileSystem: true",
		[]string{`unknown field "spec.template.spec.containers[0].securityContext.readOnlyRootFileSystem"`}},
	"memory in no unit": {"job-cpu", "limits:\n cpu: \"4\"\n memory: 8Gi", "limits:\n cpu: \"4\"\n memory: 8gb",
		[]string{"quantities must match"}}, // without the field: the one line that does not name it
	"negative parallelism": {"job-cpu", "parallelism: 1", "parallelism: -1",
		[]string{"spec.parallelism", "must be greater than or equal to 0"}},
	"no image": {"job-cpu", "image: thaw:cpu", "",
		[]string{"spec.template.spec.containers[0].image", "Required value"}},
	"operator of the policy": {"job-cpu", "operator: In\n values:\n - 2", "operator: Equals\n values:\n - 2",
		[]string{"spec.podFailurePolicy.rules[0].onExitCodes.operator", `"Equals"`}},
	"restartPolicy": {"job-cpu", "restartPolicy: Never", "restartPolicy: Always",
		[]string{"spec.template.spec.restartPolicy", `valid values: "OnFailure", "Never"`}},
	"unknown volume": {"job-cpu", "- mountPath: /runs\n name: runs", "- mountPath: /runs\n name: run",
		[]string{"spec.template.spec.containers[0].volumeMounts[1].name", `"run"`}},
	"two volumes at one path": {"job-cpu", "- mountPath: /tmp", "- mountPath: /runs",
		[]string{"spec.template.spec.containers[0].volumeMounts[3].mountPath", "must be unique"}},
	"exit code 0 as a failure": {"job-cpu", "- 75", "- 0",
		[]string{"spec.podFailurePolicy.rules[1].onExitCodes.values[0]", "must not be 0"}},
	"policy for another container": {"job-cpu",
		"containerName: thaw\n operator: In\n values:\n - 75", "containerName: trainer\n operator: In\n values:\n - 75",
		[]string{"spec.podFailurePolicy.rules[1].onExitCodes.containerName", `"trainer"`}},
	"request above the limit": {"job-cpu",
		"requests:\n cpu: \"4\"\n memory: 8Gi", "requests:\n cpu: \"4\"\n memory: 16Gi",
		[]string{"spec.template.spec.containers[0].resources.requests", "must be less than or equal to memory limit"}},
	"a number as text": {"job-cpu", "backoffLimit: 2", `backoffLimit: "two"`,
		[]string{"backoffLimit", "int32"}},
	"TrainJob: a number as a word": {"trainjob-gpu",
		"numNodes: 1\n numProcPerNode: 1", "numNodes: two\n numProcPerNode: 1",
		[]string{"spec.trainer.numNodes", `"string"`}},
	"TrainJob: auto, as torchrun's": {"trainjob-gpu", "numProcPerNode: 1", "numProcPerNode: auto",
		[]string{"spec.trainer.numProcPerNode", `"string"`}},
	"TrainJob: key misspelt": {"trainjob-gpu", "numProcPerNode: 1", "numProcsPerNode: 1",
		[]string{`unknown field "spec.trainer.numProcsPerNode"`}},
	"TrainJob: no runtime": {"trainjob-gpu",
		"kind: TrainingRuntime\n name: thaw\n trainer:", "kind: TrainingRuntime\n\n trainer:",
		[]string{"spec.runtimeRef.name", "Required value"}},
	"TrainJob: name": {"trainjob-gpu", "name: thaw\nspec:\n runtimeRef:", "name: Thaw_1\nspec:\n runtimeRef:",
		[]string{"metadata.name", `"Thaw_1"`}},
	"TrainingRuntime: key misspelt": {"trainjob-cpu", "terminationGracePeriodSeconds: 60", "terminationGracePeriod: 60",
		[]string{`unknown field "spec.template.spec.replicatedJobs[0].template.spec.template.spec.terminationGracePeriod"`}},
	"TrainingRuntime: two frameworks": {"trainjob-cpu", "torch: {}", "torch: {}\n jax: {}",
		[]string{"spec.mlPolicy", "Only one of the policy can be configured"}},
}

// apply makes the slip. What is written without indentation in the table has that of the manifest's lines; an empty
// line is one that is missing.
func (m mistake) apply(t *testing.T, manifests string) string {
	t.Helper()
	lines := strings.Split(manifests, "\n")
	old := strings.Split(m.old, "\n")
	found := -1
	for i := range len(lines) - len(old) + 1 {
		same := true
		for j, line := range old {
			same = same && strings.TrimSpace(lines[i+j]) == strings.TrimSpace(line)
		}
		if same {
			require.Negative(t, found, "found twice: %s", m.old)
			found = i
		}
	}
	require.GreaterOrEqual(t, found, 0, "not found: %s", m.old)
	var changed []string
	for j, line := range strings.Split(m.new, "\n") {
		like := lines[found+min(j, len(old)-1)]
		indent := like[:len(like)-len(strings.TrimLeft(like, " "))]
		if line != "" {
			changed = append(changed, indent+strings.TrimSpace(line))
		}
	}
	return strings.Join(append(append(append([]string{}, lines[:found]...), changed...), lines[found+len(old):]...), "\n")
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, m := range mistakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, said, err := kube.kubectl(m.apply(t, rendered(t, m.overlay)), strict...)
			require.Error(t, err, "the apiserver takes it")
			for _, want := range m.want {
				assert.Contains(t, said, want)
			}
			t.Log(strings.TrimSpace(said))
		})
	}
}

// What the definitions of Trainer cannot tell, Trainer's own webhook does, or the apiserver when the Job is made.
func TestMistakesThatTrainerFinds(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]mistake{
		"container's name": {"trainjob-cpu", "name: node\n resources:", "name: thaw\n resources:",
			[]string{"spec.template.spec.replicatedJobs[0].template.spec.template.spec.containers",
				"must contain the required container"}},
		"replicas": {"trainjob-cpu", "replicas: 1", "replicas: 2",
			[]string{"spec.template.spec.replicatedJobs[0].replicas", "always must be 1"}},
		"a variable of Trainer's": {"trainjob-cpu",
			"numNodes: 1\n numProcPerNode: 1", "numNodes: 1\n env: [{name: PET_NNODES, value: \"2\"}]",
			[]string{"spec.trainer.env", "PET_NNODES"}},
	} {
		t.Run(name, func(t *testing.T) {
			made, said := trainerMakes(t, m.apply(t, rendered(t, m.overlay)))
			require.Empty(t, made, "Trainer takes it")
			for _, want := range m.want {
				assert.Contains(t, said, want)
			}
		})
	}
	t.Run("restartPolicy", func(t *testing.T) {
		m := mistake{old: "restartPolicy: Never", new: "restartPolicy: OnFailure"}
		made, said := trainerMakes(t, m.apply(t, rendered(t, "trainjob-cpu")))
		require.Contains(t, made, "JobSet", said)
		_, said, err := kube.kubectl(document(t, jobOf(t, made["JobSet"])), strict...)
		require.Error(t, err)
		assert.Contains(t, said, "spec.template.spec.restartPolicy")
		assert.Contains(t, said, "podFailurePolicy")
	})
}
