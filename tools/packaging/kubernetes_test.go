package packaging_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// cluster is what one kustomization makes, by kind and name.
type cluster map[string]any

// kinds makes an empty object of each kind that is decoded strictly: a field that
// Kubernetes does not know is an error.
var kinds = map[string]func() any{
	"v1/Namespace":                        func() any { return new(corev1.Namespace) },
	"v1/ServiceAccount":                   func() any { return new(corev1.ServiceAccount) },
	"v1/Secret":                           func() any { return new(corev1.Secret) },
	"v1/ConfigMap":                        func() any { return new(corev1.ConfigMap) },
	"v1/Service":                          func() any { return new(corev1.Service) },
	"apps/v1/Deployment":                  func() any { return new(appsv1.Deployment) },
	"batch/v1/CronJob":                    func() any { return new(batchv1.CronJob) },
	"policy/v1/PodDisruptionBudget":       func() any { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1/NetworkPolicy":  func() any { return new(networkingv1.NetworkPolicy) },
	"monitoring.coreos.com/v1/PodMonitor": func() any { return new(podMonitor) }, // the part of it that is used
}

// podMonitor is of the Prometheus operator.
type podMonitor struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string            `json:"name"`
		Namespace string            `json:"namespace"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		PodMetricsEndpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

func kustomize(t *testing.T, dir string) cluster {
	t.Helper()
	path, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), path)
	if err != nil {
		t.Fatal(err)
	}
	all := cluster{}
	for _, r := range made.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		kind := r.GetGvk().ApiVersion() + "/" + r.GetKind()
		empty, ok := kinds[kind]
		if !ok {
			t.Fatalf("nobody knows how to check a %s", kind)
		}
		object := empty()
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			t.Errorf("%s %s: %v\n%s", kind, r.GetName(), err, text)
		}
		if r.GetKind() != "Namespace" && r.GetNamespace() != "rqvault" {
			t.Errorf("%s %s is in namespace %q", kind, r.GetName(), r.GetNamespace())
		}
		all[r.GetKind()+"/"+r.GetName()] = object
	}
	return all
}

func TestKubernetesDaemon(t *testing.T) {
	all := kustomize(t, filepath.Join(root, "deploy/kubernetes/base"))
	d, ok := all["Deployment/rqvault"].(*appsv1.Deployment)
	if !ok {
		t.Fatalf("there is no deployment in %v", slices.Sorted(maps.Keys(all)))
	}
	if *d.Spec.Replicas < 2 {
		t.Errorf("%d replicas: nobody takes over", *d.Spec.Replicas)
	}
	labels := d.Spec.Template.Labels
	checkPod(t, all, &d.Spec.Template.Spec)
	c := d.Spec.Template.Spec.Containers[0]
	for name, p := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		if p == nil || !hasPort(c, p.HTTPGet.Port.StrVal) {
			t.Errorf("the %s probe asks a port that nobody opens: %+v", name, p)
		}
	}
	service := all["Service/rqvault"].(*corev1.Service)
	if !hasPort(c, service.Spec.Ports[0].TargetPort.StrVal) {
		t.Errorf("the service leads to port %v", service.Spec.Ports[0].TargetPort)
	}
	selectors := map[string]map[string]string{
		"deployment": d.Spec.Selector.MatchLabels, "service": service.Spec.Selector,
		"disruption budget": all["PodDisruptionBudget/rqvault"].(*policyv1.PodDisruptionBudget).Spec.Selector.MatchLabels,
	}
	for what, s := range selectors {
		checkSelector(t, what, s, labels)
	}
	checkNetwork(t, all, labels)
}

// The configuration is one that rqvault takes, and it listens where the probes ask.
func TestKubernetesConfiguration(t *testing.T) {
	dir := t.TempDir()
	run(t, "dpkg-deb", "--extract", one(t, packages(t)+"/*.deb"), dir)
	shown := run(t, dir+"/usr/bin/rqvault", "config", "print", "--config", "deploy/kubernetes/base/rqvault.yml")
	all := kustomize(t, filepath.Join(root, "deploy/kubernetes/base"))
	c := all["Deployment/rqvault"].(*appsv1.Deployment).Spec.Template.Spec.Containers[0]
	if want := fmt.Sprintf(`listen: ":%d"`, c.Ports[0].ContainerPort); !strings.Contains(shown, want) {
		t.Errorf("%s is not in\n%s", want, shown)
	}
}

func TestKubernetesCronJobs(t *testing.T) {
	all := kustomize(t, filepath.Join(root, "deploy/kubernetes/cronjob"))
	jobs := 0
	for name, object := range all {
		switch o := object.(type) {
		case *appsv1.Deployment, *corev1.Service, *policyv1.PodDisruptionBudget:
			t.Errorf("%s is there beside the cron jobs: both would back up", name)
		case *batchv1.CronJob:
			jobs++
			if o.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent {
				t.Errorf("%s may overlap itself: %s", name, o.Spec.ConcurrencyPolicy)
			}
			if p := o.Spec.JobTemplate.Spec.Template.Spec.RestartPolicy; p != corev1.RestartPolicyNever {
				t.Errorf("%s: restart policy %s", name, p)
			}
			checkPod(t, all, &o.Spec.JobTemplate.Spec.Template.Spec)
			checkNetwork(t, all, o.Spec.JobTemplate.Spec.Template.Labels)
		}
	}
	if jobs != 2 {
		t.Errorf("got %d cron jobs, want backup and verify", jobs)
	}
}

func TestKubernetesPodMonitor(t *testing.T) {
	all := kustomize(t, "testdata/monitored")
	d := all["Deployment/rqvault"].(*appsv1.Deployment)
	m, ok := all["PodMonitor/rqvault"].(*podMonitor)
	if !ok {
		t.Fatalf("there is no monitor in %v", slices.Sorted(maps.Keys(all)))
	}
	checkSelector(t, "monitor", m.Spec.Selector.MatchLabels, d.Spec.Template.Labels)
	if port := m.Spec.PodMetricsEndpoints[0].Port; !hasPort(d.Spec.Template.Spec.Containers[0], port) {
		t.Errorf("it scrapes port %q", port)
	}
}

// checkPod asks for what Kubernetes calls restricted, and that all a pod names is there.
func checkPod(t *testing.T, all cluster, p *corev1.PodSpec) {
	t.Helper()
	if sc := p.SecurityContext; sc == nil || sc.RunAsNonRoot == nil || !*sc.RunAsNonRoot || sc.SeccompProfile == nil || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod may run as root, or without seccomp: %+v", sc)
	}
	if p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken {
		t.Error("the pod gets a token that it does not need")
	}
	if _, ok := all["ServiceAccount/"+p.ServiceAccountName]; !ok {
		t.Errorf("there is no service account %q", p.ServiceAccountName)
	}
	volumes := map[string]bool{}
	for _, v := range p.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil {
			if _, ok := all["ConfigMap/"+v.ConfigMap.Name]; !ok {
				t.Errorf("there is no config map %q", v.ConfigMap.Name)
			}
		}
	}
	for _, c := range p.Containers {
		sc := c.SecurityContext
		if sc == nil || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation || sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem ||
			sc.Capabilities == nil || !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("the container is not restricted: %+v", sc)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("resources: %+v", c.Resources)
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("nothing to mount at %s", m.MountPath)
			}
		}
		for _, e := range c.EnvFrom {
			if _, ok := all["Secret/"+e.SecretRef.Name]; !ok {
				t.Errorf("there is no secret %q", e.SecretRef.Name)
			}
		}
		if c.Image == "rqvault" {
			t.Error("the image has no registry")
		}
	}
}

func checkNetwork(t *testing.T, all cluster, labels map[string]string) {
	t.Helper()
	n := all["NetworkPolicy/rqvault"].(*networkingv1.NetworkPolicy)
	checkSelector(t, "network policy", n.Spec.PodSelector.MatchLabels, labels)
	if dns := n.Spec.Egress[0].To[0].PodSelector.MatchLabels; !maps.Equal(dns, map[string]string{"k8s-app": "kube-dns"}) {
		t.Errorf("names are asked of %v", dns)
	}
}

func checkSelector(t *testing.T, what string, selector, labels map[string]string) {
	t.Helper()
	if len(selector) == 0 {
		t.Errorf("the %s selects everything", what)
	}
	for k, v := range selector {
		if labels[k] != v {
			t.Errorf("the %s selects %s=%s, the pods have %v", what, k, v, labels)
		}
	}
}

func hasPort(c corev1.Container, name string) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == name && name != "" })
}
