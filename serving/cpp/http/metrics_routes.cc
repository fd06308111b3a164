#include "http/path.h"
#include "http/route_table.h"
#include "http/routes.h"
#include "trace/tracer.h"

namespace loopwright::serving::http {
namespace {

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) switch (c) {
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '&': result += "&amp;"; break;
      default: result += c;
    }
  return result;
}

std::string millis(const Totals& totals) {
  if (totals.count == 0) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), "%.3f",
                static_cast<double>(totals.nanos) / static_cast<double>(totals.count) / 1e6);
  return text;
}

std::string instance_rows(const ModelStatistics& model) {
  std::string html;
  for (size_t place = 0; place < model.instances.size(); ++place) {
    const InstanceStatistics& instance = model.instances[place];
    std::string cpus;
    for (const int cpu : instance.cores) cpus += (cpus.empty() ? "" : ", ") + std::to_string(cpu);
    char busy[32];
    std::snprintf(busy, sizeof(busy), "%.1f", instance.busy_secs);
    html += "<tr><td>" + escaped(model.name) + "</td><td class=\"n\">" + std::to_string(model.version) +
            "</td><td class=\"n\">" + std::to_string(place) + "</td><td>" + cpus + "</td><td class=\"n\">" + busy +
            "</td></tr>";
  }
  return html;
}

std::string page(const Engine& engine) {
  std::string html =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">"
      "<title>Loopwright</title><style>body{font:15px system-ui,sans-serif;margin:2rem;color:#222}"
      "table{border-collapse:collapse;margin-top:1rem}th,td{padding:.35rem .9rem;border-bottom:1px solid "
      "#ddd;text-align:left}"
      "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.READY{color:#176f2c}.UNAVAILABLE{color:#b00020}"
      ".LOADING,.UNLOADING{color:#8a6100}</style></head><body><h1>Loopwright</h1><p>";
  html += engine.is_ready() ? "The server is ready." : "The server is not ready.";
  html +=
      "</p><table><tr><th>Model</th><th>Version</th><th>State</th><th class=\"n\">Requests</th><th "
      "class=\"n\">Errors</th>"
      "<th class=\"n\">Queue, ms</th><th class=\"n\">Compute, ms</th><th class=\"n\">Total, "
      "ms</th><th>Reason</th></tr>";
  std::string instances;  // the rows of the second table
  const auto statistics = engine.statistics();
  for (const IndexEntry& entry : engine.index()) {
    ModelStatistics of_entry{entry.model, entry.version, {}, {}, {}, {}, 0, 0, 0};
    for (const ModelStatistics& each : statistics)
      if (each.name == entry.model && each.version == entry.version) of_entry = each;
    html += "<tr><td>" + escaped(entry.model) + "</td><td class=\"n\">" + std::to_string(entry.version) +
            "</td><td class=\"" + name(entry.state) + "\">" + name(entry.state) + "</td><td class=\"n\">" +
            std::to_string(of_entry.success.count) + "</td><td class=\"n\">" + std::to_string(of_entry.fail.count) +
            "</td><td class=\"n\">" + millis(of_entry.queue) + "</td><td class=\"n\">" + millis(of_entry.compute) +
            "</td><td class=\"n\">" + millis(of_entry.success) + "</td><td>" + escaped(entry.reason) + "</td></tr>";
    instances += instance_rows(of_entry);
  }
  return html +
         "</table><table><tr><th>Model</th><th>Version</th><th class=\"n\">Instance</th><th>CPUs</th>"
         "<th class=\"n\">Busy, s</th></tr>" +
         instances + "</table></body></html>";
}

Response status_page(const Engine& engine, const Rejections&, const trace::Tracer*) {
  Response response;
  response.type = "text/html; charset=utf-8";
  response.text = page(engine);
  return response;
}

Response metrics(const Engine& engine, const Rejections& rejections, const trace::Tracer* tracer) {
  Response response;
  response.type = "text/plain; version=0.0.4; charset=utf-8";
  response.text = engine.metrics() + rejections.metrics();
  if (tracer) response.text += tracer->metrics();
  return response;
}

struct Route {
  const char* method;
  const char* pattern;
  Response (*serve)(const Engine&, const Rejections&, const trace::Tracer*);
};

constexpr Route kRoutes[] = {{"GET", "metrics", metrics}, {"GET", "", status_page}};

}  // namespace

Handler metrics_routes(Engine& engine, const Rejections& rejections, const trace::Tracer* tracer) {
  return [&engine, &rejections, tracer](const Request& request, const Respond& respond) {
    Response response;
    try {
      response = find_route(kRoutes, request.method, segments(request.target)).serve(engine, rejections, tracer);
    } catch (const Error& error) {
      response = error_response(error);
    }
    respond(std::move(response));
  };
}

}  // namespace loopwright::serving::http
