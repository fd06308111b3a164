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
  }
  return html + "</table></body></html>";
}

Response status_page(const Engine& engine, const trace::Tracer*) {
  Response response;
  response.type = "text/html; charset=utf-8";
  response.text = page(engine);
  return response;
}

Response metrics(const Engine& engine, const trace::Tracer* tracer) {
  Response response;
  response.type = "text/plain; version=0.0.4; charset=utf-8";
  response.text = engine.metrics();
  if (tracer) response.text += tracer->metrics();
  return response;
}

struct Route {
  const char* method;
  const char* pattern;
  Response (*serve)(const Engine&, const trace::Tracer*);
};

constexpr Route kRoutes[] = {{"GET", "metrics", metrics}, {"GET", "", status_page}};

}  // namespace

Handler metrics_routes(Engine& engine, const trace::Tracer* tracer) {
  return [&engine, tracer](const Request& request, const Respond& respond) {
    Response response;
    try {
      response = find_route(kRoutes, request.method, segments(request.target)).serve(engine, tracer);
    } catch (const Error& error) {
      response = error_response(error);
    }
    respond(std::move(response));
  };
}

}  // namespace loopwright::serving::http
