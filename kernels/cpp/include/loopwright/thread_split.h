// How threads divide the output of a layer.
#pragma once

namespace loopwright {

// A grid of m × n rectangles, m parts of the rows times n parts of the columns, for as many threads.
struct ThreadSplit {
  int m = 1;
  int n = 1;  // 0, in schedules of earlier versions: all threads that m leaves

  int count() const { return m * n; }
};

// Calls f(split) for each split that a layer on at most `threads` threads should consider: those that leave fewer threads idle
// than any other with as many parts of the rows or of the columns, for all threads, for half of them, and so on to one.
template <class F>
void for_each_thread_split(int threads, const F& f) {
  for (int used = threads; used >= 1; used /= 2)
    for (int n = 1; n <= used; n = used / (used / n) + 1) {
      const int m = used / n;
      f(ThreadSplit{m, used / m});
    }
}

}  // namespace loopwright
