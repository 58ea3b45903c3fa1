//go:build cluster

package kubernetes_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// running is a Job that the Job controller has made pods for.
type running struct {
	t         *testing.T
	name      string
	container string
	ended     []string // pods
}

// startJob creates a Job under another name.
func startJob(t *testing.T, job object, name string) *running {
	t.Helper()
	at(t, job, "metadata").(object)["name"] = name
	kube.ask(t, document(t, job), "create", "--filename=-")
	t.Cleanup(func() { kube.ask(t, "", "delete", "job", name, "--cascade=background", "--wait=false") })
	container := at(t, job, "spec", "template", "spec", "containers", 0, "name").(string)
	return &running{t: t, name: name, container: container}
}

// pod waits for the next pod.
func (r *running) pod() string {
	r.t.Helper()
	var pods []string
	require.Eventually(r.t, func() bool {
		pods = strings.Fields(kube.ask(r.t, "", "get", "pods", "--selector=job-name="+r.name,
			"--output=jsonpath={.items[*].metadata.name}"))
		pods = slices.DeleteFunc(pods, func(pod string) bool { return slices.Contains(r.ended, pod) })
		return len(pods) > 0
	}, 60*time.Second, 200*time.Millisecond, "no pod for the Job %s", r.name)
	require.Len(r.t, pods, 1, "one pod at a time")
	return pods[0]
}

// end says, in a kubelet's stead, that a pod has ended with an exit code, and under conditions.
func (r *running) end(pod string, code int, conditions ...object) {
	r.t.Helper()
	phase := "Failed"
	if code == 0 {
		phase = "Succeeded"
	}
	patch := object{"status": object{"phase": phase, "conditions": conditions, "containerStatuses": []object{{
		"name": r.container, "image": "thaw", "imageID": "", "ready": false, "restartCount": 0,
		"state": object{"terminated": object{"exitCode": code}},
	}}}}
	kube.ask(r.t, "", "patch", "pod", pod, "--subresource=status", "--type=merge", "--patch", document(r.t, patch))
	r.ended = append(r.ended, pod)
}

type jobStatus struct {
	Failed, Succeeded int
	Conditions        []struct{ Type, Reason, Message string }
}

func (r *running) status() (status jobStatus) {
	r.t.Helper()
	var job struct{ Status jobStatus }
	require.NoError(r.t, json.Unmarshal([]byte(kube.ask(r.t, "", "get", "job", r.name, "--output=json")), &job))
	return job.Status
}

// wait waits until the Job's status has a condition.
func (r *running) wait(condition string) (reason, message string) {
	r.t.Helper()
	var status jobStatus
	require.Eventually(r.t, func() bool {
		status = r.status()
		for _, c := range status.Conditions {
			if c.Type == condition {
				reason, message = c.Reason, c.Message
				return true
			}
		}
		return false
	}, 60*time.Second, 200*time.Millisecond, "the Job %s is not %s", r.name, condition)
	return reason, message
}

// jobFrom is the Job of the overlay job-cpu, or the one that comes of the overlay trainjob-cpu.
func jobFrom(t *testing.T, overlay string) (job object) {
	t.Helper()
	if overlay == "job-cpu" {
		require.NoError(t, yaml.Unmarshal([]byte(rendered(t, overlay)), &job))
		return job
	}
	made, said := trainerMakes(t, rendered(t, overlay))
	require.Contains(t, made, "JobSet", said)
	return jobOf(t, made["JobSet"])
}

// What the real Job controller does about thaw's exit codes, which README.md promises.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	disrupted := object{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
	for _, overlay := range []string{"job-cpu", "trainjob-cpu"} {
		t.Run(overlay+", 2 ends the Job at once", func(t *testing.T) {
			t.Parallel()
			r := startJob(t, jobFrom(t, overlay), overlay+"-wrong")
			r.end(r.pod(), 2)
			reason, message := r.wait("Failed")
			assert.Equal(t, "PodFailurePolicy", reason)
			assert.Contains(t, message, "exit code 2")
			assert.Equal(t, 1, r.status().Failed)
		})
		t.Run(overlay+", 75 and evictions do not count", func(t *testing.T) {
			t.Parallel()
			job := jobFrom(t, overlay)
			at(t, job, "spec").(object)["backoffLimit"] = 0
			r := startJob(t, job, overlay+"-stopped")
			r.end(r.pod(), 75)
			second := r.pod() // the controller waits 10 seconds, then 20
			assert.Zero(t, r.status().Failed)
			r.end(second, 137, disrupted)
			third := r.pod()
			assert.Zero(t, r.status().Failed)
			r.end(third, 0)
			r.wait("Complete")
			assert.Equal(t, jobStatus{Succeeded: 1, Conditions: r.status().Conditions}, r.status())
		})
		t.Run(overlay+", 1 is tried again", func(t *testing.T) {
			t.Parallel()
			r := startJob(t, jobFrom(t, overlay), overlay+"-failed")
			r.end(r.pod(), 1)
			second := r.pod()
			assert.Equal(t, 1, r.status().Failed)
			r.end(second, 0)
			r.wait("Complete")
		})
	}
	// Without the policy 75 is a failure as any other.
	t.Run("no policy", func(t *testing.T) {
		t.Parallel()
		job := jobFrom(t, "job-cpu")
		delete(at(t, job, "spec").(object), "podFailurePolicy")
		at(t, job, "spec").(object)["backoffLimit"] = 0
		r := startJob(t, job, "no-policy")
		r.end(r.pod(), 75)
		reason, _ := r.wait("Failed")
		assert.Equal(t, "BackoffLimitExceeded", reason)
	})
}
