// Package compose checks docker-compose.yml with the parser that Docker Compose itself uses, so that
// a machine without a Docker engine notices a file that Compose would refuse. It then asserts what
// the demo relies on: where Redis can be reached from, what is published, what is mounted.
package compose

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const (
	root   = "../.."
	module = "target/wasm32-wasip1/release/velocitygate.wasm"
)

func load(t *testing.T) *types.Project {
	t.Helper()
	file := filepath.Join(root, "docker-compose.yml")
	options, err := cli.NewProjectOptions([]string{file}, cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatalf("Docker Compose would refuse this file: %v", err)
	}
	return project
}

func shareNetwork(a, b types.ServiceConfig) bool {
	for name := range a.Networks {
		if _, both := b.Networks[name]; both {
			return true
		}
	}
	return false
}

func TestTheServicesAreThoseOfTheContract(t *testing.T) {
	names := load(t).ServiceNames()
	slices.Sort(names)
	want := []string{"envoy", "grafana", "prometheus", "redis", "toxiproxy", "upstream"}
	if !slices.Equal(names, want) {
		t.Errorf("services %v, want %v", names, want)
	}
}

func TestOnlyToxiproxySharesANetworkWithRedis(t *testing.T) {
	services := load(t).Services
	for name, service := range services {
		if name == "redis" {
			continue
		}
		if got, want := shareNetwork(service, services["redis"]), name == "toxiproxy"; got != want {
			t.Errorf("%s shares a network with redis: %v, want %v", name, got, want)
		}
		if service.NetworkMode != "" {
			t.Errorf("%s has network_mode %q, which goes around the networks", name, service.NetworkMode)
		}
	}
}

func TestEnvoyReachesItsUpstreamAndToxiproxyAndIsReachedByPrometheus(t *testing.T) {
	services := load(t).Services
	for _, peer := range []string{"upstream", "toxiproxy", "prometheus"} {
		if !shareNetwork(services["envoy"], services[peer]) {
			t.Errorf("envoy and %s share no network", peer)
		}
	}
}

func TestEveryImageIsPinnedToAWholeVersion(t *testing.T) {
	whole := regexp.MustCompile(`:v?\d+\.\d+\.\d+(-[a-z0-9.]+)?(@sha256:[0-9a-f]{64})?$`)
	for name, service := range load(t).Services {
		if !whole.MatchString(service.Image) {
			t.Errorf("%s: image %q names no whole version", name, service.Image)
		}
	}
}

func TestEnvoyAndToxiproxyAreTheVersionsOfTheNativeStack(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "tools", "versions.env"))
	if err != nil {
		t.Fatal(err)
	}
	services := load(t).Services
	for key, service := range map[string]string{"ENVOY": "envoy", "TOXIPROXY": "toxiproxy"} {
		line := regexp.MustCompile(`(?m)^` + key + `=(.+)$`).FindSubmatch(text)
		if line == nil {
			t.Fatalf("tools/versions.env has no %s", key)
		}
		tag := services[service].Image[strings.LastIndex(services[service].Image, ":")+1:]
		if strings.TrimPrefix(tag, "v") != string(line[1]) {
			t.Errorf("%s runs %s, tools/versions.env pins %s", service, tag, line[1])
		}
	}
}

func TestEveryPortIsPublishedOnLoopbackOnlyAndOnce(t *testing.T) {
	taken := map[string]string{}
	for name, service := range load(t).Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %d on %q", name, port.Target, port.HostIP)
			}
			if other, again := taken[port.Published]; again {
				t.Errorf("%s and %s both publish %q", name, other, port.Published)
			}
			taken[port.Published] = name
		}
	}
	if len(taken) == 0 {
		t.Error("no port is published at all")
	}
}

func TestEveryMountIsReadOnlyAndItsSourceIsInTheRepositoryOrBuilt(t *testing.T) {
	base, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, service := range load(t).Services {
		for _, volume := range service.Volumes {
			if !volume.ReadOnly || volume.Bind == nil || bool(volume.Bind.CreateHostPath) {
				t.Errorf("%s: %s must be read-only and must not be created", name, volume.Target)
			}
			source, err := filepath.Rel(base, volume.Source)
			if err != nil || strings.HasPrefix(source, "..") {
				t.Errorf("%s mounts %s from outside the repository", name, volume.Source)
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s mounts what is not there (run `make wasm` for the module): %v", name, err)
			}
		}
	}
}

func TestThePathsInEnvoysConfigurationResolveInItsContainer(t *testing.T) {
	envoy := load(t).Services["envoy"]
	for _, path := range []string{"envoy/envoy.yaml", module} {
		inside := filepath.Join(envoy.WorkingDir, path)
		mounted := func(volume types.ServiceVolumeConfig) bool {
			return volume.Target == inside && strings.HasSuffix(volume.Source, path)
		}
		if !slices.ContainsFunc(envoy.Volumes, mounted) {
			t.Errorf("nothing is mounted on %s", inside)
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "envoy", "envoy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{module, "toxiproxy", "upstream", "26379", "10000", "9902"} {
		if !strings.Contains(string(text), name) {
			t.Errorf("envoy.yaml does not mention %s, which docker-compose.yml provides", name)
		}
	}
}

func TestToxiproxyListensForEnvoyAndLeadsToRedis(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "compose", "toxiproxy.json"))
	if err != nil {
		t.Fatal(err)
	}
	var proxies []struct {
		Name, Listen, Upstream string
		Enabled                bool
	}
	if err := json.Unmarshal(text, &proxies); err != nil {
		t.Fatal(err)
	}
	if len(proxies) != 1 || proxies[0].Name != "redis" || !proxies[0].Enabled {
		t.Fatalf("want one enabled proxy named redis, got %+v", proxies)
	}
	if proxies[0].Listen != "0.0.0.0:26379" {
		t.Errorf("listens on %s", proxies[0].Listen)
	}
	host, port, err := net.SplitHostPort(proxies[0].Upstream)
	if err != nil || host != "redis" || port != "6379" {
		t.Errorf("leads to %s", proxies[0].Upstream)
	}
}
