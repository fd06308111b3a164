// `instances = "auto"`: which runtime, and how many instances of how many threads, serve a model best, by measurement.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/servable.h"

namespace loopwright::serving {

// A way to serve a model, and what it was measured to do.
struct Candidate {
  std::string runtime;
  int instances = 1, threads = 1;
  double items_per_sec = 0;
  double p99_ms = 0;   // at 80 % of that, arrivals at random; 0: without an objective it is not measured
  std::string reason;  // why it cannot serve the model; else empty
};

// Returns the candidates of a machine: each runtime, with 1, 2, 4, ... threads up to `most_threads`, and as many instances as there are
// cores for. `threads`: only this number; 0: all.
std::vector<Candidate> candidates(const std::vector<std::string>& runtimes, int cores, int most_threads, int threads);

// Measures a loaded candidate, for about a second. `most_items` is the largest batch. Throws Error if the model fails on zeros.
void measure(Candidate& candidate, Servable& model, int64_t most_items, bool has_objective);

// Returns the one with most items per second of those within the objective (0: all); of those within 3 % the one with the most threads,
// whose runs are shorter. If none is within it, the one with the least p99. Throws Error with the reasons if all failed.
const Candidate& best_of(const std::vector<Candidate>& measured, double slo_ms);

// Whether two lists have the same runtimes, instances and threads.
bool same_candidates(const std::vector<Candidate>& a, const std::vector<Candidate>& b);

// What was measured, as a file. A missing or damaged one is empty.
std::vector<Candidate> read_candidates(const std::string& path);
void write_candidates(const std::string& path, const std::vector<Candidate>& measured);

}  // namespace loopwright::serving
