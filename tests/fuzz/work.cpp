// What is counted: the compiler has the first function called at each branch, the linker (--wrap) puts the
// others in front of what they count.
#include "tests/fuzz/work.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <sanitizer/allocator_interface.h>

#define UNCOUNTED __attribute__((no_sanitize("address", "coverage", "undefined")))

namespace {

std::uint64_t steps = 0;

UNCOUNTED void add_octets(std::size_t count) {
    steps += 1 + count / 64;
}
UNCOUNTED void on_malloc(const volatile void*, std::size_t size) {
    steps += 1 + size / 1024; // ldns takes 200 KB for each record that it reads, and touches little of it
}
UNCOUNTED void on_free(const volatile void*) {}

/// The input that came nearest to its bound.
struct Most {
    double share = 0;
    std::uint64_t steps = 0;
    std::size_t octets = 0;
    ~Most() {
        std::fprintf(stderr, "Most work: %.1f %% of the bound, %llu steps for %zu octets\n", share * 100,
                     static_cast<unsigned long long>(steps), octets);
    }
} most;

} // namespace

extern "C" {

void* __real___asan_memcpy(void* to, const void* from, std::size_t size);
void* __real___asan_memmove(void* to, const void* from, std::size_t size);
void* __real___asan_memset(void* to, int octet, std::size_t size);
int __real_memcmp(const void* one, const void* other, std::size_t size);
void* __real_memchr(const void* in, int octet, std::size_t size);
std::size_t __real_strlen(const char* text);

UNCOUNTED void __wrap___sanitizer_cov_trace_pc() {
    ++steps;
}
UNCOUNTED void* __wrap___asan_memcpy(void* to, const void* from, std::size_t size) {
    add_octets(size);
    return __real___asan_memcpy(to, from, size);
}
UNCOUNTED void* __wrap___asan_memmove(void* to, const void* from, std::size_t size) {
    add_octets(size);
    return __real___asan_memmove(to, from, size);
}
UNCOUNTED void* __wrap___asan_memset(void* to, int octet, std::size_t size) {
    add_octets(size);
    return __real___asan_memset(to, octet, size);
}
UNCOUNTED int __wrap_memcmp(const void* one, const void* other, std::size_t size) {
    add_octets(size);
    return __real_memcmp(one, other, size);
}
UNCOUNTED void* __wrap_memchr(const void* in, int octet, std::size_t size) {
    void* found = __real_memchr(in, octet, size);
    add_octets(found ? std::size_t(static_cast<char*>(found) - static_cast<const char*>(in)) : size);
    return found;
}
UNCOUNTED std::size_t __wrap_strlen(const char* text) {
    std::size_t size = __real_strlen(text);
    add_octets(size);
    return size;
}
}

namespace millrace::fuzz {

Work::Work(Bound bound, std::size_t octets)
    : most_(bound.for_input + bound.for_octet * octets), octets_(octets) {
    static const int installed = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    if (installed == 0) std::abort();
    began_ = steps;
}

Work::~Work() {
    std::uint64_t done = steps - began_;
    double share = double(done) / double(most_);
    if (share > most.share) most = {share, done, octets_};
    if (done <= most_) return;
    std::fprintf(stderr, "Too much work: %llu steps for %zu octets, %llu are allowed\n",
                 static_cast<unsigned long long>(done), octets_, static_cast<unsigned long long>(most_));
    std::abort();
}

} // namespace millrace::fuzz
