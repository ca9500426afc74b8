# Compiled from the [gate] table of ringfence.toml.
package ringfence.gate

import rego.v1

rank := {"info": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}

# A finding at high or above denies, unless a waiver covers it.
deny contains msg if {
	some finding in input.findings
	not finding.waived == true
	not rank[finding.severity] < 3
	msg := sprintf("%s (%s) in %s", [finding.rule, finding.severity, finding.path])
}

# Data older than 30 days proves nothing about what was published since.
fresh(age) if {
	age.stale == false
	age.days <= 30
}

stale contains msg if {
	some age in input.coverage.data_age
	not fresh(age)
	msg := sprintf("%s is %d days old, more than 30 or of unknown date", [age.name, age.days])
}

incomplete contains msg if {
	not input.coverage.skips == 0
	msg := sprintf("%d parts were not looked at", [input.coverage.skips])
}

incomplete contains msg if some msg in stale

incomplete contains "coverage is not stated" if not input.coverage.complete in {true, false}

verdict := "deny" if count(deny) > 0

verdict := "incomplete" if {
	count(deny) == 0
	count(incomplete) > 0
}

verdict := "allow" if {
	count(deny) == 0
	count(incomplete) == 0
}
