package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	chart     = "../../helm/tasksink"
	charttest = "../charttest" // whose go.mod says which Helm, KEDA and Prometheus Operator it is
)

// TestChart: the API server admits all that the chart makes, with strict field validation and under the Pod Security
// standard `restricted`, and Helm installs, upgrades, tests, rolls back and uninstalls it.
func TestChart(t *testing.T) {
	s := start(t)
	definitions(t, s)
	s.must(t, "POST", "/apis/scheduling.k8s.io/v1/priorityclasses",
		[]byte(`{"metadata": {"name": "important"}, "value": 1000}`))
	files, err := filepath.Glob(chart + "/ci/*-values.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d values files: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), "-values.yaml")
		t.Run(name, func(t *testing.T) {
			namespace(t, s, name)
			strict(t, s, name, file)
			life(t, s, name, file)
		})
	}
}

// definitions gives the API server KEDA's and Prometheus Operator's types.
func definitions(t *testing.T, s *server) {
	t.Helper()
	operator := "github.com/prometheus-operator/prometheus-operator"
	version := tool(t, "go", "list", "-m", "-f={{.Version}}", operator+"/pkg/apis/monitoring")
	var module struct{ Dir string }
	if err := json.Unmarshal([]byte(tool(t, "go", "mod", "download", "-json", operator+"@"+version)),
		&module); err != nil {
		t.Fatal(err)
	}
	keda := tool(t, "go", "list", "-m", "-f={{.Dir}}", "github.com/kedacore/keda/v2")
	const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	for _, file := range []string{
		keda + "/config/crd/bases/keda.sh_scaledobjects.yaml",
		keda + "/config/crd/bases/keda.sh_triggerauthentications.yaml",
		module.Dir + "/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
		module.Dir + "/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
		module.Dir + "/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
	} {
		b, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatal(err)
		}
		made := s.must(t, "POST", path, b)
		await(t, time.Minute, file, func() error {
			status := fmt.Sprint(s.must(t, "GET", path+"/"+text(made, "metadata", "name"), nil)["status"])
			if !regexp.MustCompile(`status:True type:Established`).MatchString(status) {
				return fmt.Errorf("not established: %s", status)
			}
			return nil
		})
	}
	for kind, path := range resources { // established, and still it may take a moment
		await(t, time.Minute, kind, func() error {
			status, answer, err := s.ask("GET", fmt.Sprintf(path, "default"), nil)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d %s", status, answer)
			}
			return err
		})
	}
}

// namespace makes one that admits restricted pods only, with the ServiceAccount that a controller would make in it.
func namespace(t *testing.T, s *server, name string) {
	t.Helper()
	s.must(t, "POST", "/api/v1/namespaces", []byte(`{"metadata": {"name": "`+name+`", "labels": {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}}}`))
	s.must(t, "POST", "/api/v1/namespaces/"+name+"/serviceaccounts", []byte(`{"metadata": {"name": "default"}}`))
}

// resources are where objects of a kind live.
var resources = map[string]string{
	"ConfigMap":               "/api/v1/namespaces/%s/configmaps",
	"Pod":                     "/api/v1/namespaces/%s/pods",
	"Service":                 "/api/v1/namespaces/%s/services",
	"ServiceAccount":          "/api/v1/namespaces/%s/serviceaccounts",
	"Deployment":              "/apis/apps/v1/namespaces/%s/deployments",
	"HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/%s/horizontalpodautoscalers",
	"NetworkPolicy":           "/apis/networking.k8s.io/v1/namespaces/%s/networkpolicies",
	"PodDisruptionBudget":     "/apis/policy/v1/namespaces/%s/poddisruptionbudgets",
	"ScaledObject":            "/apis/keda.sh/v1alpha1/namespaces/%s/scaledobjects",
	"TriggerAuthentication":   "/apis/keda.sh/v1alpha1/namespaces/%s/triggerauthentications",
	"PodMonitor":              "/apis/monitoring.coreos.com/v1/namespaces/%s/podmonitors",
	"PrometheusRule":          "/apis/monitoring.coreos.com/v1/namespaces/%s/prometheusrules",
	"ServiceMonitor":          "/apis/monitoring.coreos.com/v1/namespaces/%s/servicemonitors",
}

// strict has the API server look at each object without storing it: unknown and doubled fields are errors, values are
// validated, CRDs' rules included. The worker's pod, which a controller would make, is looked at as well.
func strict(t *testing.T, s *server, name, file string) {
	t.Helper()
	const look = "?dryRun=All&fieldValidation=Strict"
	out, ok := helm(t, s, "template", "tasksink", chart, "--namespace="+name, "--values="+file,
		"--set=serviceAccount.create=false,serviceAccount.name=default")
	if !ok {
		t.Fatal(out)
	}
	for document := range strings.SplitSeq(out, "\n---\n") {
		kind := regexp.MustCompile(`(?m)^kind: (\w+)`).FindStringSubmatch(document)
		if kind == nil {
			continue
		}
		path, known := resources[kind[1]]
		if !known {
			t.Fatalf("where does a %s live? say so in resources", kind[1])
		}
		made := s.must(t, "POST", fmt.Sprintf(path, name)+look, []byte(document))
		if kind[1] == "Deployment" {
			template := made["spec"].(map[string]any)["template"].(map[string]any)
			template["metadata"].(map[string]any)["name"] = "worker"
			pod, err := json.Marshal(template)
			if err != nil {
				t.Fatal(err)
			}
			s.must(t, "POST", fmt.Sprintf(resources["Pod"], name)+look, pod)
		}
	}
}

// life is that of a release.
func life(t *testing.T, s *server, name, file string) {
	t.Helper()
	release := func(args ...string) {
		t.Helper()
		if out, ok := helm(t, s, append(args, "--namespace="+name)...); !ok {
			t.Fatalf("helm %s: %s", strings.Join(args, " "), out)
		}
	}
	install := []string{"tasksink", chart, "--values=" + file}
	release(append([]string{"install"}, install...)...)
	first := deployment(t, s, name)
	if first.generation != 1 {
		t.Fatalf("the Deployment's generation is %d", first.generation)
	}

	release(append([]string{"upgrade"}, install...)...)
	if again := deployment(t, s, name); again != first {
		t.Errorf("an upgrade to the same changed the Deployment: %v, was %v", again, first)
	}
	release(append([]string{"upgrade"}, append(install, "--set=settings.batch-wait=3s")...)...)
	changed := deployment(t, s, name)
	if changed.checksum == first.checksum || changed.generation != 2 {
		t.Errorf("a new setting did not roll the pods: %v, was %v", changed, first)
	}

	// Without a kubelet the test's pod never ends. That it was admitted, and what it would run, is what can be seen.
	if out, ok := helm(t, s, "test", "tasksink", "--timeout=2s", "--namespace="+name); ok ||
		!strings.Contains(out, "tim") && !strings.Contains(out, "deadline") {
		t.Errorf("helm test: %v %s", ok, out)
	}
	pods := s.must(t, "GET", fmt.Sprintf(resources["Pod"], name), nil)["items"].([]any)
	if len(pods) != 1 || !strings.Contains(fmt.Sprint(pods[0]), "args:[check --config=") {
		t.Errorf("the test's pod is not there: %v", pods)
	}

	release("rollback", "tasksink", "1")
	if back := deployment(t, s, name); back.checksum != first.checksum {
		t.Errorf("the rollback left the settings as they were: %v, was %v", back, first)
	}
	release("uninstall", "tasksink")
	for kind, path := range resources {
		for _, item := range s.must(t, "GET", fmt.Sprintf(path, name), nil)["items"].([]any) {
			left := text(item.(map[string]any), "metadata", "name")
			// Hooks outlive a release, so that their logs can be read.
			if kind != "Pod" && (kind != "ServiceAccount" || left != "default") {
				t.Errorf("%s %s is left behind", kind, left)
			}
		}
	}
}

type rollout struct {
	generation int
	checksum   string
}

func deployment(t *testing.T, s *server, name string) (r rollout) {
	t.Helper()
	items := s.must(t, "GET", fmt.Sprintf(resources["Deployment"], name), nil)["items"].([]any)
	if len(items) != 1 {
		t.Fatalf("%d Deployments", len(items))
	}
	d := items[0].(map[string]any)
	r.generation = int(d["metadata"].(map[string]any)["generation"].(float64))
	r.checksum = text(d, "spec", "template", "metadata", "annotations", "checksum/config")
	return r
}

func text(at map[string]any, path ...string) string {
	for _, key := range path[:len(path)-1] {
		at, _ = at[key].(map[string]any)
	}
	is, _ := at[path[len(path)-1]].(string)
	return is
}

// tool runs a command of Go in the module that knows the versions.
func tool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = charttest
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

var helmPath string

func helm(t *testing.T, s *server, args ...string) (said string, ok bool) {
	t.Helper()
	if helmPath == "" {
		helmPath = tool(t, "go", "tool", "-n", "helm")
	}
	home := filepath.Dir(s.kubeconfig)
	cmd := exec.CommandContext(t.Context(), helmPath, args...)
	cmd.Env = slices.Concat(os.Environ(), []string{"KUBECONFIG=" + s.kubeconfig, "HELM_CACHE_HOME=" + home,
		"HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home})
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil || errs.Len() > 0 && strings.Contains(errs.String(), "Warning") {
		return out.String() + errs.String(), false
	}
	return out.String(), true
}
