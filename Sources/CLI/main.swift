import Telemetry
print(MetricsPage.markdown(), terminator: "")
