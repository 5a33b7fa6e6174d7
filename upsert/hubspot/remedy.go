package hubspot

import "strings"

// refusedGrants are the token endpoint's words for a refresh token that is no good.
var refusedGrants = map[string]bool{"BAD_REFRESH_TOKEN": true, "INVALID_REFRESH_TOKEN": true, "invalid_grant": true,
	"HTTP_400": true}

// AuthRemedy says what an operator can do about a 401, of which HubSpot gives the category. With OAuth the categories
// are also the token endpoint's. fixed says that the token was given by --hubspot-token.
func AuthRemedy(category string, fixed bool) string {
	switch {
	case strings.Contains(strings.ToUpper(category), "CLIENT"):
		return "check --hubspot-oauth-client-id, and put the app's secret into the file that " +
			"--hubspot-oauth-client-secret-file names; it is read again by itself"
	case refusedGrants[category]:
		return "install the app in the account again, and put the new refresh token into the file that " +
			"--hubspot-oauth-refresh-token-file names; it is read again by itself"
	case fixed:
		return "give a valid token by --hubspot-token or TASKSINK_HUBSPOT_TOKEN, and restart tasksink; one in a file " +
			"(--hubspot-token-file) can be replaced without a restart"
	default:
		return "put a valid token into the file that --hubspot-token-file names; it is read again by itself"
	}
}
