// Command observe starts tasksink beside the demo's Kafka and HubSpot, and Prometheus with tasksink's alerts.
package main

func main() {}
