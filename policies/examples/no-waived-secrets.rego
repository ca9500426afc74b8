# A secret must be rotated; a waiver does not make it less known.
package ringfence.gate

import rego.v1

deny contains msg if {
	some finding in input.findings
	startswith(finding.rule, "admit/secret-")
	finding.waived
	msg := sprintf("a waiver cannot cover a secret: %s in %s", [finding.rule, finding.path])
}
