package compose

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The metrics of the public contract; a histogram is queried through its buckets.
var contractMetrics = []string{
	"velocitygate_batch_size_bucket",
	"velocitygate_breaker_state",
	"velocitygate_breaker_transitions_total",
	"velocitygate_deny_cache_hits_total",
	"velocitygate_evictions_total",
	"velocitygate_lease_hits_total",
	"velocitygate_redis_call_us_bucket",
	"velocitygate_redis_calls_total",
	"velocitygate_redis_errors_total",
	"velocitygate_requests_total",
	"velocitygate_wait_us_bucket",
	"velocitygate_waiting",
}

type dashboard struct {
	UID    string
	Panels []struct {
		Title      string
		Datasource struct{ UID string }
		Targets    []struct{ Expr string }
	}
}

func read(t *testing.T, path string, parse func([]byte, any) error, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "compose", path))
	if err != nil {
		t.Fatal(err)
	}
	if err := parse(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestTheDashboardShowsEveryMetricOfTheContractAndNoOther(t *testing.T) {
	var shown dashboard
	read(t, "grafana/dashboards/velocitygate.json", json.Unmarshal, &shown)
	named := regexp.MustCompile(`velocitygate_[a-z_]+`)
	var found []string
	for _, panel := range shown.Panels {
		for _, target := range panel.Targets {
			found = append(found, named.FindAllString(target.Expr, -1)...)
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if !slices.Equal(found, contractMetrics) {
		t.Errorf("the dashboard shows %v\nthe contract has %v", found, contractMetrics)
	}
}

func TestEveryPanelReadsTheProvisionedDatasource(t *testing.T) {
	var shown dashboard
	read(t, "grafana/dashboards/velocitygate.json", json.Unmarshal, &shown)
	var provisioned struct {
		Datasources []struct{ UID, URL string }
	}
	read(t, "grafana/datasources/prometheus.yml", yaml.Unmarshal, &provisioned)
	if len(provisioned.Datasources) != 1 || provisioned.Datasources[0].URL != "http://prometheus:9090" {
		t.Fatalf("want one datasource at prometheus:9090, got %+v", provisioned)
	}
	for _, panel := range shown.Panels {
		if panel.Datasource.UID != provisioned.Datasources[0].UID {
			t.Errorf("panel %q reads datasource %q", panel.Title, panel.Datasource.UID)
		}
	}
}

func TestPrometheusScrapesEnvoysMetricsListener(t *testing.T) {
	var config struct {
		Scrapes []struct {
			Path    string                       `yaml:"metrics_path"`
			Statics []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	read(t, "prometheus.yml", yaml.Unmarshal, &config)
	if len(config.Scrapes) != 1 || config.Scrapes[0].Path != "/stats/prometheus" {
		t.Fatalf("want one scrape of /stats/prometheus, got %+v", config)
	}
	if targets := config.Scrapes[0].Statics[0].Targets; !slices.Equal(targets, []string{"envoy:9902"}) {
		t.Errorf("scrapes %v", targets)
	}
}
