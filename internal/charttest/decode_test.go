package charttest

import (
	"slices"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/pod-security-admission/api"
	security "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// kinds are all that the chart may make, and the types of those who read them.
var kinds = map[string]func() any{
	"apps/v1 Deployment":                      func() any { return new(apps.Deployment) },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() any { return new(autoscaling.HorizontalPodAutoscaler) },
	"keda.sh/v1alpha1 ScaledObject":           func() any { return new(keda.ScaledObject) },
	"keda.sh/v1alpha1 TriggerAuthentication":  func() any { return new(keda.TriggerAuthentication) },
	"monitoring.coreos.com/v1 PodMonitor":     func() any { return new(monitoring.PodMonitor) },
	"monitoring.coreos.com/v1 PrometheusRule": func() any { return new(monitoring.PrometheusRule) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return new(monitoring.ServiceMonitor) },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return new(networking.NetworkPolicy) },
	"policy/v1 PodDisruptionBudget":           func() any { return new(policy.PodDisruptionBudget) },
	"v1 ConfigMap":                            func() any { return new(core.ConfigMap) },
	"v1 Pod":                                  func() any { return new(core.Pod) },
	"v1 Service":                              func() any { return new(core.Service) },
	"v1 ServiceAccount":                       func() any { return new(core.ServiceAccount) },
}

// as decodes an object strictly: a field that the type lacks, or has twice, fails the test.
func as(t *testing.T, o object) any {
	t.Helper()
	version, _ := o.fields["apiVersion"].(string)
	make, known := kinds[version+" "+o.kind]
	if !known {
		t.Fatalf("%s %s %s: say in kinds who reads it", version, o.kind, o.name)
	}
	into := make()
	if err := yaml.UnmarshalStrict(o.text, into); err != nil {
		t.Errorf("%s %s: %v", o.kind, o.name, err)
	}
	return into
}

// TestObjects: each object decodes strictly, and all kinds are rendered by one of the values files.
func TestObjects(t *testing.T) {
	seen := make(chan string, 1000)
	t.Run("files", func(t *testing.T) {
		each(t, func(t *testing.T, _ string, objects []object) {
			for _, o := range objects {
				as(t, o)
				version, _ := o.fields["apiVersion"].(string)
				seen <- version + " " + o.kind
			}
		})
	})
	close(seen)
	var all []string
	for kind := range seen {
		all = append(all, kind)
	}
	for kind := range kinds {
		if !slices.Contains(all, kind) {
			t.Errorf("no values file makes a %s", kind)
		}
	}
}

// TestRestricted: the worker's pod and the test's satisfy the Pod Security standard `restricted`.
func TestRestricted(t *testing.T) {
	evaluator, err := security.NewEvaluator(security.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, _ string, objects []object) {
		pods := 0
		for _, o := range objects {
			var meta *core.PodTemplateSpec
			switch is := as(t, o).(type) {
			case *apps.Deployment:
				meta = &is.Spec.Template
			case *core.Pod:
				meta = &core.PodTemplateSpec{ObjectMeta: is.ObjectMeta, Spec: is.Spec}
			default:
				continue
			}
			pods++
			level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
			for _, result := range evaluator.EvaluatePod(level, &meta.ObjectMeta, &meta.Spec) {
				if !result.Allowed {
					t.Errorf("%s %s is not restricted: %s: %s", o.kind, o.name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			if mount := meta.Spec.AutomountServiceAccountToken; mount == nil || *mount {
				t.Errorf("%s %s mounts a token of Kubernetes", o.kind, o.name)
			}
			for _, c := range meta.Spec.Containers {
				if c.SecurityContext == nil || c.SecurityContext.ReadOnlyRootFilesystem == nil ||
					!*c.SecurityContext.ReadOnlyRootFilesystem {
					t.Errorf("%s %s may write its root", o.kind, o.name)
				}
				for _, m := range c.VolumeMounts {
					if m.SubPath != "" {
						t.Errorf("%s %s mounts %s by subPath: it would never change", o.kind, o.name, m.Name)
					}
				}
			}
		}
		if pods != 2 {
			t.Errorf("%d pods were looked at, not the worker's and the test's", pods)
		}
	})
}
