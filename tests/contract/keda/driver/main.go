// Drives KEDA's own client code for external scalers against a server, and says what KEDA makes of the answers.
//
// It reads one command as JSON per line from standard input and prints one JSON object per command. A test thereby
// changes the server between two questions, without any timing of its own.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	v2 "k8s.io/api/autoscaling/v2"

	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
)

// KEDA's push scalers wait up to a minute before they connect again.
const patience = 75 * time.Second

type command struct {
	Op       string            `json:"op"`
	Push     bool              `json:"push"`
	Name     string            `json:"name"`
	Space    string            `json:"namespace"`
	Index    int               `json:"index"`
	Metadata map[string]string `json:"metadata"`
	Auth     map[string]string `json:"auth"`
	Metric   string            `json:"metric"`
}

type spec struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	TargetMilli int64  `json:"target_milli"`
}

type reply struct {
	Error      string   `json:"error,omitempty"`
	Specs      []spec   `json:"specs,omitempty"`
	Values     []int64  `json:"values_milli,omitempty"`
	ValueNames []string `json:"value_names,omitempty"`
	Active     *bool    `json:"active,omitempty"`
}

type session struct {
	scaler  scalers.Scaler
	cancel  context.CancelFunc
	active  chan bool
	streams <-chan []v2.MetricSpec
}

func config(c command) *scalersconfig.ScalerConfig {
	return &scalersconfig.ScalerConfig{
		ScalableObjectName:      c.Name,
		ScalableObjectNamespace: c.Space,
		ScalableObjectType:      "ScaledObject",
		GlobalHTTPTimeout:       10 * time.Second,
		TriggerMetadata:         c.Metadata,
		ResolvedEnv:             map[string]string{},
		AuthParams:              c.Auth,
		TriggerIndex:            c.Index,
		MetricType:              v2.AverageValueMetricType,
	}
}

func (s *session) open(c command) error {
	s.close()
	if !c.Push {
		made, err := scalers.NewExternalScaler(config(c))
		s.scaler = made
		return err
	}
	made, err := scalers.NewExternalPushScaler(config(c))
	if err != nil {
		return err
	}
	s.scaler = made
	streamer, ok := made.(scalers.MetricSpecStreamer)
	if !ok {
		return errors.New("this KEDA streams no metric specs")
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.active, s.streams = cancel, make(chan bool), streamer.MetricSpecChan()
	go made.Run(ctx, s.active)
	return nil
}

func (s *session) close() {
	if s.cancel != nil {
		s.cancel()
	}
	if s.scaler != nil {
		_ = s.scaler.Close(context.Background())
	}
	*s = session{}
}

func (s *session) run(c command) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch c.Op {
	case "open":
		return reply{}, s.open(c)
	case "close":
		s.close()
		return reply{}, nil
	}
	if s.scaler == nil {
		return reply{}, errors.New("open a scaler first")
	}
	switch c.Op {
	case "specs":
		return reply{Specs: described(s.scaler.GetMetricSpecForScaling(ctx))}, nil
	case "value":
		values, active, err := s.scaler.GetMetricsAndActivity(ctx, c.Metric)
		answer := reply{Active: &active}
		for _, value := range values {
			answer.Values = append(answer.Values, value.Value.MilliValue())
			answer.ValueNames = append(answer.ValueNames, value.MetricName)
		}
		return answer, err
	case "pushed":
		select {
		case active, open := <-s.active:
			if !open {
				return reply{}, errors.New("KEDA has closed the channel")
			}
			return reply{Active: &active}, nil
		case <-ctx.Done():
			return reply{}, errors.New("nothing was pushed")
		}
	case "pushed-specs":
		select {
		case specs := <-s.streams:
			return reply{Specs: described(specs)}, nil
		case <-ctx.Done():
			return reply{}, errors.New("no specs were pushed")
		}
	}
	return reply{}, fmt.Errorf("no operation is called %q", c.Op)
}

func described(specs []v2.MetricSpec) []spec {
	found := make([]spec, 0, len(specs))
	for _, one := range specs {
		external := one.External
		milli := int64(0)
		if external.Target.AverageValue != nil {
			milli = external.Target.AverageValue.MilliValue()
		}
		found = append(found, spec{Name: external.Metric.Name, Type: string(external.Target.Type), TargetMilli: milli})
	}
	return found
}

func main() {
	var running session
	defer running.close()
	answers := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var asked command
		var answer reply
		err := json.Unmarshal(lines.Bytes(), &asked)
		if err == nil {
			answer, err = running.run(asked)
		}
		if err != nil {
			answer.Error = err.Error()
		}
		if err := answers.Encode(answer); err != nil {
			os.Exit(1)
		}
	}
}
