// What Swift's Glibc module lacks: GNU and Linux calls, declared here without _GNU_SOURCE
// (defining it would give types that differ from Glibc's own and break the import).
#pragma once
