package all

import "testing"

func TestPhasesNeverGoBack(t *testing.T) {
	seen := map[string]bool{}
	kinds := Kinds()
	for i, k := range kinds {
		if i > 0 && k.Phase < kinds[i-1].Phase {
			t.Errorf("%s (%s) comes after %s (%s)", k.Name, k.Phase, kinds[i-1].Name, kinds[i-1].Phase)
		}
		if seen[k.Name] {
			t.Errorf("%s is listed twice", k.Name)
		}
		seen[k.Name] = true
	}
}
